"""A folder with one page that classifies images in the browser, by LiteRT.js, from any server of static files."""
