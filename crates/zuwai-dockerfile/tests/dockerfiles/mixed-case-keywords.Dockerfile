from a As Base
Run x
coPY a b
Env k=v
OnBuild Run y
