# check=experimental=InvalidDefinitionDescription
# a comment
ARG foo=1 bar=2

# bar is described
ARG bar
# of several the last counts
# baz x
ARG baz

# blank lines do not part

ARG q
# foo: has a colon
ARG foo
# build stuff
FROM scratch AS build
# no name
FROM scratch AS two
# a stage without a name
FROM scratch
# in a stage
ARG kk=3
RUN x \
 # inside an instruction
 y
ARG zz
#kk without a space
ARG kk
# Three is not three
FROM scratch AS Three
