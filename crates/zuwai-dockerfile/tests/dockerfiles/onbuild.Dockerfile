FROM a
ONBUILD RUN make \
  all
ONBUILD COPY --from=b --chown=1:1 . /src
ONBUILD  ADD <<F <<-G /d/
1
F
	2
	G
ONBUILD RUN --mount=type=cache,target=/c <<EOF
x
EOF
onbuild cmd ["a"]
ONBUILD ENV a=b c="d e"
ONBUILD HEALTHCHECK --interval=1s CMD x
