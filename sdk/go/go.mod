module witgate

go 1.25
