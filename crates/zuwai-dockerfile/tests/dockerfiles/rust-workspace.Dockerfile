FROM rust:1.95 AS chef
RUN cargo install cargo-chef --locked
WORKDIR /w

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /w/recipe.json .
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry,uid=0,gid=0,mode=0755 \
    cargo chef cook --release
COPY . .
RUN cargo build --release

FROM debian:trixie-slim AS Runtime
COPY --from=2 /w/target/release/tool /usr/local/bin/
ENTRYPOINT ["tool"]
