FROM a
RUN --mount=type=bnd,target=/x x
RUN --mount=type=cache,traget=/x x
RUN --mount=type=secret x
RUN --mount=type=bind,target=/x,from=$STAGE x
RUN --mount=type=tmpfs,target=/x,size=big x
