FROM scratch AS scratch
FROM scratch AS Context
FROM scratch AS contexts
