FROM a AS self
COPY --from=$V x y
COPY --from=a${V} x y
