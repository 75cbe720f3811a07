FROM alpine AS One
FROM one AS two
FROM TWO
FROM --platform=linux/arm64/v8 busybox AS a-b_c.d1
COPY --from=one / /
COPY --from=1 / /
RUN --mount=from=two,target=/x x
FROM registry.example.com:5000/team/app:1.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
