ARG image=scratch
ARG unset
FROM ${imag:-scratch} AS a
FROM ${unset:-scratch} AS b
FROM ${unse:-scratch} AS c
FROM ${nothing_like_it:-scratch} AS d
FROM $image AS e
FROM --platform=linux/${ARCH:-amd64} $image AS f
FROM --platform=$BUILDOS/$TARGETARCH scratch AS g
FROM scratch${TARGETPLATFOR:+x} AS h
