# check=skip=StageNameCasing,Bogus,jsonargsrecommended, FromAsCasing
FROM scratch as Build
CMD a
WORKDIR x
