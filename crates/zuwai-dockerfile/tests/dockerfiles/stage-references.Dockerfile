FROM a AS self
COPY --from=self x y
COPY --from=9 x y
RUN --mount=from=self,target=/x y
