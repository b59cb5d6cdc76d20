module example.com/jwt-auth

go 1.25

require witgate v0.0.0

replace witgate => ./.witgate/sdk/go
