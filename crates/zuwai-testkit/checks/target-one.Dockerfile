FROM scratch AS one
WORKDIR a
EXPOSE 80/TCP
COPY $foo a
FROM scratch AS two
WORKDIR $yy
maintainer me
FROM --platform=linux/amd64 scratch AS three
COPY $foo a
