"""One module per page: a function that asks the library and gives a `Page`. A new page is one module and one row."""
