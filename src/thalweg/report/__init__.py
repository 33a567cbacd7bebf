"""Reports: a race's summary document drawn for people.

Everything here reads documents and files alone, never the code that made them, so that an old
race can always be drawn again. Import the module that draws what you want: `report.html`.
"""
