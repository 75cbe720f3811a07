FROM scratch
copy a b
COPY a b
copy a b
