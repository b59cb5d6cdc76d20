//! Nothing but a place for the tests in `tests/`: one integration binary, `gateway`, that drives
//! the real `witgate` with fakes from `witgate-testkit`.
