arg before=1
FROM scratch
COPY a b
copy a b
Copy a \
  b
onbuild COPY a b
ONBUILD copy a b
