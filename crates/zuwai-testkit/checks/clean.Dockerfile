# syntax-like comments are no directives
ARG IMAGE=scratch
FROM --platform=$BUILDPLATFORM ${IMAGE} AS build
ARG VERSION=1
WORKDIR /src
COPY . .
ENV VERSION=${VERSION} PATH=$PATH:/opt
RUN make

FROM scratch
COPY --from=build /src/out /
EXPOSE 80 53/udp
ENTRYPOINT ["/out"]
CMD ["--help"]
