FROM scratch AS base
WORKDIR a
FROM scratch AS copied
WORKDIR b
FROM scratch AS mounted
WORKDIR c
FROM scratch AS unused
WORKDIR d
FROM base AS last
COPY --from=1 / /
RUN --mount=type=bind,from=mounted,target=/m x
FROM unused
