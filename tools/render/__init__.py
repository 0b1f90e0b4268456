"""Makes what is checked in and follows from something else: `make render`.

docker/prometheus/alerts.yml             the alerts with the chart's default thresholds
k8s/headrace/files/dashboards/*.json     the boards
k8s/headrace/values.schema.json          from headrace's settings and the chart's values
k8s/headrace/README.md                   likewise
k8s/manifests/*.yaml                     the chart rendered for people without Helm
"""
