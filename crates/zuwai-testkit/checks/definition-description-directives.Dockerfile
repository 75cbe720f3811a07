# check=experimental=all
FROM scratch AS directives-are-no-comments
