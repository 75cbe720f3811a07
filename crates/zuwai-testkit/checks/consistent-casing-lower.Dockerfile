from scratch
copy a b
COPY a b
copy a b
ONBUILD copy a b
