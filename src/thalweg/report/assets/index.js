// A folder of races: a table that sorts.

sortable($('results'));
conveniences();
