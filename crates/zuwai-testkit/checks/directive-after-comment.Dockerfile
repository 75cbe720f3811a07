# a comment ends the directives
# check=skip=all
FROM scratch AS Build
