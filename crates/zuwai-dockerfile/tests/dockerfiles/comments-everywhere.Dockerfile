# the first line is a comment, so no directive follows
# escape=`
# still a comment
FROM a # not a comment but words
