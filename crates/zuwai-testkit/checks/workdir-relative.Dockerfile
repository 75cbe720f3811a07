FROM scratch AS a
WORKDIR a
WORKDIR b
FROM a
WORKDIR c
FROM scratch
WORKDIR /x
WORKDIR c
FROM scratch
ARG p
WORKDIR $p/x
FROM scratch
WORKDIR ""
FROM scratch AS q
ARG r=/x
WORKDIR $r
FROM q
WORKDIR z
FROM scratch
WORKDIR \
  here
