FROM
FROM a b
FROM a AS 1st
FROM a AS x/y
FROM --platfrom=x a
FROM --platform=a --platform=b c
FROM a AS b c
