FROM scratch AS Build
FROM scratch AS build-2
FROM build AS LAST
COPY --from=build-2 a b
