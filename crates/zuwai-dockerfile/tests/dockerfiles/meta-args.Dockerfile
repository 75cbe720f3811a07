ARG BASE=debian TAG=trixie QUOTED="two words" SINGLE='$none' EMPTY= UNSET
ARG FULL=${BASE}:${TAG}
FROM ${FULL} AS a
ARG BASE
ARG TAG=override
FROM "$BASE":'x'
