# check=skip=all
FROM scratch as Build
CMD a
