# a comment
FROM scratch AS build
