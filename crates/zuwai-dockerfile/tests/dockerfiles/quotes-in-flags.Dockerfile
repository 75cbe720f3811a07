FROM a
COPY --chown="a:b" --chmod='755' x y
RUN --mount="type=cache,target=/x" z
COPY --exclude=a\ b x y
