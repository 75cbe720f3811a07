# check=skip=all;experimental=InvalidDefinitionDescription
# a comment
FROM scratch as Build
