FRM a
FROM b
CPY a b
COPY a
ENV a
ENV a=b c
LABEL =x
ARG =x
EXPOSE
USER
SHELL sh -c
HEALTHCHECK --interval=fast CMD x
HEALTHCHECK WHAT x
RUN --netwrok=none x
VOLUME [""]
RUN []
