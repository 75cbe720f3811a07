#!/usr/bin/env -S docker build -f
# check=skip=StageNameCasing
FROM scratch AS Build
WORKDIR x
