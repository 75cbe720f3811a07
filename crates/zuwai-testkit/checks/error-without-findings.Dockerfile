# check=error=true
FROM scratch AS build
