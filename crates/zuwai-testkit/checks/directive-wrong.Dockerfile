# check=skip=all;
FROM scratch AS Build
