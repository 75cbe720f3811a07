# check=error=true
FROM a as Build
MAINTAINER me
ENV old style
LABEL old style
RUN a \

  b
CMD a
CMD b
ENTRYPOINT x
FROM b AS scratch
FROM c AS scratch
