From scratch
Copy a b
Env a=1
