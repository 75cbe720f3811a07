FROM scratch as Build
MAINTAINER me
ENV old style
LABEL old style
COPY a \

  b
CMD a
CMD b
ENTRYPOINT x
FROM scratch AS scratch
FROM scratch AS scratch
