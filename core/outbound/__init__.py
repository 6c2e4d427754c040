"""The one way out for HTTP: resolve, judge the address, connect to it, measure, bound."""
