"""What a deployment needs: images, manifests, alerts, the dashboard, copying a log."""
