// A folder of races: a table that sorts. A race without runs has none.

if ($('results')) sortable($('results'));
conveniences();
