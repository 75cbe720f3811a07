FROM scratch
COPY --chown=$owner \
  $foo \
  $bar \
  baz/
ENV a=$nonexist \
  # a comment
  b=$nonexist2
