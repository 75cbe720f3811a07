FROM a
RUN ok \
  fine
ENV a=1 \
    # comment
    b=2 \
    c \
    d=4
COPY --chown=a \
  --chwon=b \
  x y
