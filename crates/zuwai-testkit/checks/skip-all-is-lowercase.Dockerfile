# check=skip=ALL
FROM scratch as Build
