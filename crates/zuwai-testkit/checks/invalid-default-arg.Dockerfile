ARG image
ARG upper=UPPER
ARG tag=1..2
ARG base=scratch
FROM ${image:-scratch} AS a
FROM $base AS b
FROM ${upper:+scratch} AS c
