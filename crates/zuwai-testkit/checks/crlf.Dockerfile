FROM scratch AS A
COPY a \

 b
WORKDIR x
