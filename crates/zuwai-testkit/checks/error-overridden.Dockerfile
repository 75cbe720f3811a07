# check=error=true;skip=FromAsCasing
FROM scratch as Build
