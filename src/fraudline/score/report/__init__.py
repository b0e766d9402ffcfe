"""The daily report for fraud analysts: compute its data, draw its charts, render its pages."""
