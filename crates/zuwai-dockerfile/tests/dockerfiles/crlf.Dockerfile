# syntax=a
FROM a
RUN one \
  two

# comment
COPY <<END /x
line
END
ENV a=b c="d"
